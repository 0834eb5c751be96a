"""A classic ASP page as a script for cscript: as much of Server, Request and Response as pages that send mail use."""
import re

PRELUDE = """
Class ServerObject
    Public Function CreateObject(name)
        Set CreateObject = WScript.CreateObject(name)
    End Function
    Public Function HTMLEncode(text)
        HTMLEncode = Replace(Replace(Replace(Replace(text, "&", "&amp;"), "<", "&lt;"), ">", "&gt;"), Chr(34), "&quot;")
    End Function
End Class
Class RequestObject
    Public Function Form(name)
        Select Case LCase(name)
{fields}
            Case Else
                Form = ""
        End Select
    End Function
End Class
Dim page
page = ""
Class ResponseObject
    Public Sub Write(text)
        page = page & text
    End Sub
End Class
Dim Server, Request, Response
Set Server = New ServerObject
Set Request = New RequestObject
Set Response = New ResponseObject
"""


def literal(text):
    """VBScript has no escapes: line ends are joined in as vbCrLf, vbCr or vbLf."""
    parts = re.split(r"(\r\n|\r|\n)", text)
    names = {"\r\n": "vbCrLf", "\r": "vbCr", "\n": "vbLf"}
    return " & ".join(names.get(part) or '"' + part.replace('"', '""') + '"' for part in parts)


def script(page, form):
    fields = "\n".join(f"            Case {literal(name.lower())}\n                Form = {literal(value)}" for name, value in form.items())
    lines = [PRELUDE.format(fields=fields)]
    for text, code in re.findall(r"(.*?)(?:<%(.*?)%>|\Z)", page, re.S):
        if text.strip():
            lines.append(f"Response.Write {literal(text)}")
        if code.startswith("="):
            lines.append(f"Response.Write {code[1:].strip()}")
        elif code and not code.startswith("@"):
            lines.append(code.strip())
    return "\r\n".join([*lines, "WScript.Echo page"]) + "\r\n"

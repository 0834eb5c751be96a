' sendmail.vbs: sends a message from the command prompt.
'   cscript sendmail.vbs -t TO -f FROM -s SUBJECT -b BODY      (also -to -from -subject -body; -help or -? for this)
Option Explicit
Dim i, toWhom, fromWhom, subject, body, mail

Sub Usage
    WScript.Echo "usage: cscript sendmail.vbs -t <to> -f <from> -s ""<subject>"" -b ""<body>"""
    WScript.Quit 64
End Sub

i = 0
Do While i < WScript.Arguments.Count
    Select Case LCase(WScript.Arguments(i))
        Case "-help", "-?"
            Usage
        Case "-t", "-to"
            i = i + 1 : If i < WScript.Arguments.Count Then toWhom = WScript.Arguments(i)
        Case "-f", "-from"
            i = i + 1 : If i < WScript.Arguments.Count Then fromWhom = WScript.Arguments(i)
        Case "-s", "-subject"
            i = i + 1 : If i < WScript.Arguments.Count Then subject = WScript.Arguments(i)
        Case "-b", "-body"
            i = i + 1 : If i < WScript.Arguments.Count Then body = WScript.Arguments(i)
        Case Else
            Usage
    End Select
    i = i + 1
Loop
If toWhom = "" Or fromWhom = "" Or subject = "" Or body = "" Then Usage

Set mail = CreateObject("CDONTS.NewMail")
mail.From = fromWhom
mail.To = toWhom
mail.Subject = subject
mail.Body = body
mail.Send
WScript.Echo mail.PickupName

<%@ Language=VBScript %>
<%
' A form's answers as mail, as classic ASP pages sent them.
Dim mail
Set mail = Server.CreateObject("CDONTS.NewMail")
mail.From = "webmaster@example.test"
mail.To = "office@example.test"
mail.Value("Reply-To") = Request.Form("email")
mail.Subject = "From the web: " & Request.Form("subject")
mail.BodyFormat = 0
mail.MailFormat = 0
mail.Body = "<html><body>" & Server.HTMLEncode(Request.Form("text")) & "</body></html>"
On Error Resume Next
mail.Send
If Err.Number <> 0 Then
%>
<p>Not sent: <%= Err.Description %></p>
<% Else %>
<p>Thank you, <%= Server.HTMLEncode(Request.Form("email")) %>.</p>
<% End If
Set mail = Nothing %>

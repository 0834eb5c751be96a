#!/usr/bin/python3
# send.py TO FILE: sends a file.
import sys
import gi
gi.require_version("Cdonts", "1.0")
from gi.repository import Cdonts

mail = Cdonts.NewMail(From="app@example.test", To=sys.argv[1], Subject="Grüße aus Python")
mail.props.Body = "Es hängt an.\n"
mail.attach_file(sys.argv[2], None, 1)
print(mail.send())

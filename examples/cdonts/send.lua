#!/usr/bin/lua5.3
-- send.lua TO FILE: sends a file.
local Cdonts = require("lgi").require("Cdonts", "1.0")

local mail = Cdonts.NewMail { From = "app@example.test", To = arg[1], Subject = "Grüße aus Lua" }
mail.Body = "Es hängt an.\n"
assert(mail:attach_file(arg[2], nil, 1))
print(assert(mail:send()))

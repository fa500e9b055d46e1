-- application/x-www-form-urlencoded in bodies and queries: every piece of text means something.
return require "lib.http_report"("form")

-- HTTP/2.0: one response, and nothing after it.
return require "lib.http_report"("form")

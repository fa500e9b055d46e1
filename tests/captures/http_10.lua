-- HTTP/1.0 without keep-alive, and without Host: one request. Expect means nothing in it.
return require "lib.http_report"("body")

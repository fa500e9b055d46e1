-- Expect: 100-continue from a client that did not wait: no 100 is sent, and the connection goes on.
return require "lib.http_report"("body")

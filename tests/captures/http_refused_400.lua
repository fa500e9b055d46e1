-- A field line without a colon: one response, and nothing after it.
return require "lib.http_report"("form")

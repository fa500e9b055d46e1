-- A chunk that is longer than its size: one response, and nothing after it.
return require "lib.http_report"("form")

-- An unknown transfer coding: one response, and nothing after it.
return require "lib.http_report"("form")

-- Cookie fields as RFC 6265 reads them, from any number of lines.
return require "lib.http_report"("form")

-- multipart/form-data with everything in it that its grammar allows.
return require "lib.http_report"("form")

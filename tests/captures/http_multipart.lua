-- multipart/form-data as Chrome and Safari, Firefox (older and newer), curl, and libraries send it.
return require "lib.http_report"("form")

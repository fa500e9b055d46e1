-- Bodies by both framings as request.body, one request after the other: each begins where the one before ends.
return require "lib.http_report"("body")

-- A request line above the limit: one response, and nothing after it.
return require "lib.http_report"("form", {request_body_size_limit = 10, request_header_size_limit = 256})

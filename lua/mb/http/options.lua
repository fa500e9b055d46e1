-- The options of generate_handler. mb.http.option_checks checks those that a script gives.

-- Defaults that suit most scripts. Sizes are in bytes, times in seconds.
local DEFAULTS = {
  request_body_size_limit = 64 * 1024 * 1024, -- a form with some photographs; it is kept in memory
  request_header_size_limit = 65536, -- browsers send less than 8 KiB without cookies
  maximum_input_chunk_size = 65536, -- the most that one receive gives
  minimum_output_chunk_size = 16384, -- then most pages are sent in one piece, with their length
  static_headers = {text = "", dated = false},
  idle_timeout = 65, -- a little more than browsers and proxies wait
  stall_timeout = 60,
  request_header_timeout = 120,
  response_timeout = 3600,
  drain_timeout = 2,
}

-- Returns the options with all defaults; or nil and what is wrong.
return function(given)
  if next(given) == nil then return DEFAULTS end
  local options, wrong = require "mb.http.option_checks"(given)
  if not options then return nil, wrong end
  return setmetatable(options, {__index = DEFAULTS})
end

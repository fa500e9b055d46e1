-- What is said to a script that calls a method of the response when it is not its turn, or sends what does not fit.

-- State -> what to say of it.
local STATES = {
  start = "no status was sent yet: request:send_status comes first",
  head = "the status was sent already",
  body = "the response head is finished",
  finished = "the response is finished",
}

local function describe(request, call, sent)
  if type(request) ~= "table" or not request._state then
    return "expected a request; call it as request:" .. call .. "(...)"
  elseif request.faulty then
    return ("the request is faulty (%s)"):format(request._wire.fault.message)
  elseif not sent then
    return STATES[request._state]
  elseif request._interim then
    return "an interim response has no body: request:finish_headers ends it"
  elseif request._length and sent ~= request._length then
    return ("%d bytes of body, but Content-Length is %d"):format(sent, request._length)
  end
  return ("a %d response has no body"):format(request._code)
end

-- Throws. call: the name of the method; sent: bytes of body there would be, or nil when it is the state that forbids the
-- call; level: as for error, in the caller.
return function(request, call, level, sent)
  error(call .. ": " .. describe(request, call, sent), level)
end

-- Answers requests for which mb.router has no route.

local answer = require "mb.http.failure".answer

-- Returns the value of Allow.
local function listed(allowed)
  local names = {}
  if allowed.GET then allowed.HEAD = true end
  allowed.OPTIONS = true
  for name in pairs(allowed) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

-- segments: those of the path; nil: it cannot be a path of anything, or there is none. find: that of mb.router.find.
return function(self, request, segments, find)
  if not request.path then -- OPTIONS *
    request:send_status(204)
    return
  end
  if not segments then return answer(request, 400, "a path that no resource can have") end
  local allowed = {}
  find(self.root, segments, 1, request.method, {}, 0, allowed)
  if next(allowed) == nil then return answer(request, 404) end
  local allow = listed(allowed)
  if request.method ~= "OPTIONS" then return answer(request, 405, nil, {{"Allow", allow}}) end
  request:send_status(204)
  request:send_header("Allow", allow)
end

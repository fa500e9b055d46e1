-- For modules.lua.
return function(text) return text:upper() end

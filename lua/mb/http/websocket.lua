-- request:upgrade_websocket([options]): makes a WebSocket of the connection. See mb.websocket.

local methods = {}

methods.upgrade_websocket = require "mb.websocket".upgrade

return {methods = methods}

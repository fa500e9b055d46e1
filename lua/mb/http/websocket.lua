-- request:upgrade_websocket([options]): makes a WebSocket of the connection. See mb.websocket.

return {methods = {upgrade_websocket = require "mb.websocket".upgrade}}

-- The message bus for collectd's Lua plugin: what the ubus object 'fosquitto' says of it. In collectd's configuration:
--
--   LoadPlugin lua
--   <Plugin lua>
--     BasePath "/usr/share/collectd"
--     Script "fosquitto.lua"
--   </Plugin>

local ubus = require "ubus"

-- The types are those of collectd's types.db, where a 'derive' is a counter that becomes a rate.
local VALUES = {
  { "gauge", "clients", "counts", "clients" },
  { "gauge", "sessions", "counts", "sessions" },
  { "gauge", "subscriptions", "counts", "subscriptions" },
  { "gauge", "retained", "counts", "retained" },
  { "gauge", "waiting", "counts", "waiting" },
  { "derive", "denied", "counts", "denied" },
  { "derive", "messages_received", "traffic", "messages_received" },
  { "derive", "messages_sent", "traffic", "messages_sent" },
  { "derive", "messages_dropped", "traffic", "messages_dropped" },
  { "total_bytes", "received", "traffic", "bytes_received" },
  { "total_bytes", "sent", "traffic", "bytes_sent" },
  { "bytes", "held", "memory", "held" },
  { "total_bytes", "flash", "store", "flash_bytes" },
}

local function read()
  local connection = ubus.connect()
  if not connection then
    collectd.log_error("fosquitto: ubus cannot be reached")
    return 1
  end
  local answer = connection:call("fosquitto", "status", {})
  connection:close()
  -- A bus that is stopped has no values, which is no fault of collectd's.
  if not answer or answer.error then
    return 0
  end
  for _, row in ipairs(VALUES) do
    local part = answer[row[3]]
    if part and part[row[4]] then
      collectd.dispatch_values({ plugin = "fosquitto", type = row[1], type_instance = row[2], values = { part[row[4]] } })
    end
  end
  return 0
end

collectd.register_read(read)

-- The message bus for prometheus-node-exporter-lua, which reads this file if it is installed: what the ubus object 'fosquitto' says of it.
-- Where no bus runs only `fosquitto_up` is told.

local ubus = require "ubus"

-- Fields of the status: the metric's name, its type, and where it stands.
local METRICS = {
  { "fosquitto_uptime_seconds", "gauge", "uptime_s" },
  { "fosquitto_clients", "gauge", "counts", "clients" },
  { "fosquitto_sessions", "gauge", "counts", "sessions" },
  { "fosquitto_sessions_expired_total", "counter", "counts", "sessions_expired" },
  { "fosquitto_subscriptions", "gauge", "counts", "subscriptions" },
  { "fosquitto_retained_messages", "gauge", "counts", "retained" },
  { "fosquitto_waiting_messages", "gauge", "counts", "waiting" },
  { "fosquitto_denied_total", "counter", "counts", "denied" },
  { "fosquitto_failed_logins_total", "counter", "counts", "logins_failed" },
  { "fosquitto_packets_received_total", "counter", "traffic", "packets_received" },
  { "fosquitto_packets_sent_total", "counter", "traffic", "packets_sent" },
  { "fosquitto_messages_received_total", "counter", "traffic", "messages_received" },
  { "fosquitto_messages_sent_total", "counter", "traffic", "messages_sent" },
  { "fosquitto_messages_dropped_total", "counter", "traffic", "messages_dropped" },
  { "fosquitto_received_bytes_total", "counter", "traffic", "bytes_received" },
  { "fosquitto_sent_bytes_total", "counter", "traffic", "bytes_sent" },
  { "fosquitto_held_bytes", "gauge", "memory", "held" },
  { "fosquitto_held_bytes_max", "gauge", "memory", "held_max" },
  { "fosquitto_process_bytes", "gauge", "memory", "process" },
  { "fosquitto_flash_bytes_total", "counter", "store", "flash_bytes" },
  { "fosquitto_flash_day_bytes", "gauge", "store", "flash_bytes_day" },
  { "fosquitto_flash_day_bytes_max", "gauge", "store", "daily_budget" },
  { "fosquitto_pending_changes", "gauge", "store", "pending" },
}

-- What the bus says of itself; nil where none runs.
local function status()
  local connection = ubus.connect()
  if not connection then
    return nil
  end
  local answer = connection:call("fosquitto", "status", {})
  connection:close()
  if not answer or answer.error then
    return nil
  end
  return answer
end

local function scrape()
  local answer = status()
  metric("fosquitto_up", "gauge", nil, answer and 1 or 0)
  if not answer then
    return
  end
  for _, row in ipairs(METRICS) do
    local value = answer
    for place = 3, #row do
      value = value and value[row[place]]
    end
    -- What a system does not tell is left out.
    if value then
      metric(row[1], row[2], nil, value)
    end
  end
  local connections = metric("fosquitto_listener_connections", "gauge")
  for _, listener in ipairs(answer.listeners or {}) do
    connections({ listener = listener.name }, listener.connections)
  end
  local left = metric("fosquitto_certificate_left_seconds", "gauge")
  for _, file in ipairs(answer.certificates or {}) do
    if file.left_s then
      left({ listener = file.listener, kind = file.kind, path = file.path }, file.left_s)
    end
  end
end

return { scrape = scrape }

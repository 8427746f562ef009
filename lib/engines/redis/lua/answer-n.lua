-- Publishes a node's answers to drops, and strikes it from those whom the next writer tells: it has nothing older than these versions.
-- Without it whoever was told once would be told by every writer of the next copy lease again.
-- KEYS     the records' keys
-- ARGV     the node's number, the channel, the message, then for each key the version that its drop named
-- The bit is refused at maxmemory, and by a replica: then the node is told once more, which does no harm.
local number = tonumber(ARGV[1])
local at, bit_value = 8 - math.floor(number / 8), 2 ^ (number % 8)
for i, key in ipairs(KEYS) do
  local state, version, facts = look(key)
  local byte = string.byte(facts, 8 + at)
  if state == 'record' and version == tonumber(ARGV[3 + i]) and math.floor(byte / bit_value) % 2 == 1 then
    redis.pcall('SETRANGE', key, 20 + at, string.char(byte - bit_value))
  end
end
return redis.call('PUBLISH', ARGV[2], ARGV[3])

-- Reads a value and, in the same step, writes down that a node has a copy of it from now on.
-- KEYS[1]  the record's key
-- ARGV     the node's number (-1: it keeps no copy), the version that it knows (0: none)
-- Returns  {1 if its copy counts, the value, or its header alone if the version is the known one}; nil when it is missing
-- The bit is refused at maxmemory, and by a replica: then there is no copy, but the read goes on.
local state, version, facts = look(KEYS[1])
if state == 'missing' then return false end
local number, counts = tonumber(ARGV[1]), 0
if state == 'record' and number >= 0 then
  local at = 8 - math.floor(number / 8)
  local byte, bit_value = string.byte(facts, at), 2 ^ (number % 8)
  counts = 1
  if math.floor(byte / bit_value) % 2 == 0 then
    local set = redis.pcall('SETRANGE', KEYS[1], 12 + at, string.char(byte + bit_value))
    if type(set) == 'table' and set.err then counts = 0 end
  end
end
if state == 'record' and version == tonumber(ARGV[2]) then return { counts, redis.call('GETRANGE', KEYS[1], 0, 34) } end
return { counts, redis.call('GET', KEYS[1]) }

-- Reads a value and, in the same step, writes down that a node has a copy of it from now on.
-- KEYS     the record's key; the ledger (copies.lua)
-- ARGV     the node's number (-1: it keeps no copy), its epoch, its generation, the version that it knows (0: none)
-- Returns  {1 if its copy counts, the value, or its header alone if the version is the known one}; nil when it is missing
-- The writes are refused at maxmemory, and by a replica: then there is no copy, but the read goes on.
local function done(reply) return not (type(reply) == 'table' and reply.err) end

local state, version, facts = look(KEYS[1])
if state == 'missing' then return false end
local number, generation, counts = tonumber(ARGV[1]), tonumber(ARGV[3]), 0
-- A number that the ledger knows for another's, or doesn't know: no copy of this node would be told of a write.
if state == 'record' and number >= 0 and redis.call('HGET', KEYS[2], 'e' .. number) == ARGV[2] then
  local at = 8 - math.floor(number / 8)
  local byte, bit_value = string.byte(facts, at), 2 ^ (number % 8)
  local set = math.floor(byte / bit_value) % 2 == 1
  local known = tonumber(redis.call('HGET', KEYS[2], 'g' .. number) or 0) >= generation
  if (known or done(redis.pcall('HSET', KEYS[2], 'g' .. number, generation)))
    and (set or done(redis.pcall('SETRANGE', KEYS[1], 12 + at, string.char(byte + bit_value)))) then
    counts = 1
  end
end
if state == 'record' and version == tonumber(ARGV[4]) then return { counts, redis.call('GETRANGE', KEYS[1], 0, 34) } end
return { counts, redis.call('GET', KEYS[1]) }

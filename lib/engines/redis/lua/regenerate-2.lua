-- Ends the record of the expected version under one key and stores its successor under another of the same slot, or does nothing.
-- The SET that maxmemory may refuse comes first, when nothing is written yet.
-- KEYS     from, to
-- ARGV     expected version, idleMs, absoluteAt, body, how long the mark stays in ms
-- Returns  {version, idleAt, now} when done; else what is in the way: a value, or nil when `from` is missing
local state, version, copies = look(KEYS[1])
if state == 'missing' then return false end
if state ~= 'record' or version ~= tonumber(ARGV[1]) then return redis.call('GET', KEYS[1]) end
local to_state, to_version = look(KEYS[2])
if to_state ~= 'missing' then return redis.call('GET', KEYS[2]) end
local idle_at = idle_deadline(ARGV[2], ARGV[3])
local reply = { store('R', KEYS[2], to_version, idle_at, NO_COPIES, ARGV[4]), idle_at, now }
store('E', KEYS[1], version, now + tonumber(ARGV[5]), copies, '')
return reply

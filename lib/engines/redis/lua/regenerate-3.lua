-- Ends the record of the expected version under one key and stores its successor under another of the same slot, or does nothing.
-- The SET that maxmemory may refuse comes first, when nothing is written yet.
-- KEYS     from, to (an id made just now); the ledger
-- ARGV     expected version, idleMs, absoluteAt, body, how long the mark stays in ms,
--          idleMs and body of the record that stays under `from` instead (0: the mark), writer (see copies.lua)
-- The drops for `from`, and so the answers to them, name the new record's version.
-- Returns  as commit when done; else what is in the way: a value, or nil when `from` is missing
local state, version, facts = look(KEYS[1])
if state == 'missing' then return false end
if state ~= 'record' or version ~= tonumber(ARGV[1]) then return redis.call('GET', KEYS[1]) end
local to_state, to_version = look(KEYS[2])
if to_state ~= 'missing' then return redis.call('GET', KEYS[2]) end
local idle_at = idle_deadline(ARGV[2], ARGV[3])
local reply = { store('R', KEYS[2], to_version, idle_at, facts_after(0, 0, keep), ARGV[4]), idle_at, now }
local high, low = affected(facts)
if ARGV[6] == '0' then
  store('E', KEYS[1], version, now + tonumber(ARGV[5]), facts_after(high, low, false), '')
  return announce(KEYS[1], reply[1], high, low, 'end', reply)
end
store('R', KEYS[1], version, idle_deadline(ARGV[6], ARGV[3]), facts_after(high, low, false), ARGV[7])
return announce(KEYS[1], reply[1], high, low, 'new', reply)

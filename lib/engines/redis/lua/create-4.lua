-- Stores a first record. If one was there that somebody may still have a copy of (it was evicted, or expired), all nodes are told.
-- KEYS     the record's key; the registry's rows; its holders'; the ledger
-- ARGV     idleMs, absoluteAt, body, 1 if the id was made just now, writer (see copies.lua)
-- Holders that are there are those of a record that was evicted: they go on holding. Those of one that expired went with it.
-- Returns  as commit when stored; else what is there: the value
local state, version, facts = look(KEYS[1])
if state ~= 'missing' then return redis.call('GET', KEYS[1]) end
local idle_at = idle_deadline(ARGV[1], ARGV[2])
if ARGV[4] == '1' then
  version = store('R', KEYS[1], version, idle_at, facts_after(0, 0, keep), ARGV[3])
  return { version, idle_at, now, counts, 0 }
end
local high, low = affected(version > 0 and facts or nil)
version = store('R', KEYS[1], version, idle_at, facts_after(high, low, keep), ARGV[3])
redis.call('PEXPIREAT', KEYS[3], math.max(idle_at - 1, 1))
return announce(KEYS[1], version, high, low, 'new', { version, idle_at, now })

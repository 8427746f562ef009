-- Replaces the record if its version is the expected one.
-- KEYS     the record's key; its holders', which live as long as it does; the ledger
-- ARGV     expected version, idleMs, absoluteAt, body, writer (see copies.lua)
-- Returns  {version, idleAt, now, 1 if the copy counts, 1 if somebody couldn't be told, number, ms, number, ms …} when stored, with whom the writer waits
--          for; else what is there: the value, or nil when it is missing
local state, version, facts = look(KEYS[1])
if state == 'missing' then return false end
if state ~= 'record' or version ~= tonumber(ARGV[1]) then return redis.call('GET', KEYS[1]) end
local idle_at = idle_deadline(ARGV[2], ARGV[3])
local high, low = affected(facts)
version = store('R', KEYS[1], version, idle_at, facts_after(high, low, keep), ARGV[4])
redis.call('PEXPIREAT', KEYS[2], math.max(idle_at - 1, 1))
return announce(KEYS[1], version, high, low, 'new', { version, idle_at, now })

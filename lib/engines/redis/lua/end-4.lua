-- Puts an ended mark in place of whatever is there. DEL comes first: it isn't refused at maxmemory, and a script that has written
-- once isn't refused what follows. The mark keeps who was told, and the holders stay as long as it does, so that an end that finds it
-- waits for them as the first one does.
-- KEYS     the record's key; the registry's rows; its holders'; the ledger
-- ARGV     how long the mark stays, in ms; the longest body that is shown; writer (see copies.lua)
-- The drops, and so the answers to them, name `now` for a version.
-- Returns  {what was there, now, the holders (nodeId, facts, nodeId, facts …), the body of the record that was ended or '' if
--          it is longer, 0, 1 if somebody couldn't be told, number, ms, number, ms …}
local state, version, facts = look(KEYS[1])
local shown = tonumber(ARGV[2])
local body = state == 'record' and redis.call('GETRANGE', KEYS[1], 35, 35 + shown) or ''
if #body > shown then body = '' end
redis.call('DEL', KEYS[1])
local holders, high, low = with_holders(KEYS[3], affected(version > 0 and facts or nil))
local stays_until = now + tonumber(ARGV[1])
store('E', KEYS[1], version, stays_until, facts_after(high, low, false), '')
if #holders > 0 then redis.call('PEXPIREAT', KEYS[3], stays_until - 1) end
return announce(KEYS[1], now, high, low, 'end', { state, now, holders, body })

-- Ends the record of the expected version under one key and stores its successor under another of the same slot, or does nothing.
-- The SET that maxmemory may refuse comes first, when nothing is written yet.
-- KEYS     from, to (an id made just now); the holders of `from`; the ledger
-- ARGV     expected version, idleMs, absoluteAt, body, how long the mark stays in ms,
--          idleMs and body of the record that stays under `from` instead (0: the mark), writer (see copies.lua)
-- The drops for `from`, and so the answers to them, name the new record's version.
-- Returns  {version, idleAt, now, the holders of `from` as for end, 1 if the copy counts, 1 if somebody couldn't be told, number, ms …} when done; else what is in the way: a value, or nil when `from` is missing
local state, version, facts = look(KEYS[1])
if state == 'missing' then return false end
if state ~= 'record' or version ~= tonumber(ARGV[1]) then return redis.call('GET', KEYS[1]) end
local to_state, to_version = look(KEYS[2])
if to_state ~= 'missing' then return redis.call('GET', KEYS[2]) end
local idle_at = idle_deadline(ARGV[2], ARGV[3])
local reply = { store('R', KEYS[2], to_version, idle_at, facts_after(0, 0, keep), ARGV[4]), idle_at, now }
local holders, high, low = with_holders(KEYS[3], affected(facts))
local stays_until = now + tonumber(ARGV[5])
if ARGV[6] == '0' then
  store('E', KEYS[1], version, stays_until, facts_after(high, low, false), '')
else
  store('R', KEYS[1], version, idle_deadline(ARGV[6], ARGV[3]), facts_after(high, low, false), ARGV[7])
end
-- What is live goes by the old id, which is over either way.
if #holders > 0 then redis.call('PEXPIREAT', KEYS[3], stays_until - 1) end
table.insert(reply, holders)
return announce(KEYS[1], reply[1], high, low, 'end', reply)

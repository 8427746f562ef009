-- Marks a node's row as left, for one lease, if its epoch is the given one.
-- KEYS     see registry.lua, and the ledger (copies.lua): whoever left has no copies, so nobody waits for it
-- ARGV     nodeId, epoch, lease in ms
-- Returns  1 when marked now, else 0
write_first()
local number, epoch, left, about = row_of(ARGV[1])
if not number or left == '1' or epoch ~= tonumber(ARGV[2]) then return 0 end
write_row(ARGV[1], number, epoch, '1', about, tonumber(ARGV[3]))
redis.call('HSET', KEYS[4], 'u' .. number, 0)
revise()
return 1

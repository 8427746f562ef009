-- Marks a node's row as left, for one lease, if its epoch is the given one.
-- KEYS     see registry.lua
-- ARGV     nodeId, epoch, lease in ms
-- Returns  1 when marked now, else 0
write_first()
local number, epoch, left, about = row_of(ARGV[1])
if not number or left == '1' or epoch ~= tonumber(ARGV[2]) then return 0 end
write_row(ARGV[1], number, epoch, '1', about, tonumber(ARGV[3]))
revise()
return 1

-- Renews a node's lease, keeps what it says about itself, and reaps. Its cost doesn't depend on the number of sessions.
-- KEYS     see registry.lua
-- ARGV     nodeId, epoch, about, lease in ms
-- Returns  {now, revision, 1 or 0 for grace}; {now} when fenced
local node_id, lease_ms = ARGV[1], tonumber(ARGV[4])
write_first()
local number, epoch, left, about = row_of(node_id)
if not number or left == '1' or epoch ~= tonumber(ARGV[2]) then return { now } end
redis.call('ZADD', leases, now + lease_ms, node_id)
if about ~= ARGV[3] then
  write_row(node_id, number, epoch, '0', ARGV[3], lease_ms)
  revise()
end
local grace = reap(lease_ms)
return { now, fact('revision'), grace and 1 or 0 }

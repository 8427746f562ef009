-- A node holds nothing of a session any more. What it wrote down later than that stays.
-- KEYS[1]  the holders' key (see holders.lua)
-- ARGV     nodeId, facts
-- Returns  1 when removed, else 0
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])

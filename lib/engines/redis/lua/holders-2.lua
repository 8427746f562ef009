-- Who holds something live of a session, if there is one.
-- KEYS     the record's key; its holders' (see holders.lua)
-- Returns  {nodeId, facts, nodeId, facts …}
if look(KEYS[1]) ~= 'record' then return {} end
return redis.call('HGETALL', KEYS[2])

-- All rows, but those that left more than a lease ago, and the revision they belong to.
-- KEYS     see registry.lua
-- Returns  {revision, nodeId, row, nodeId, row, …}
local reply = { fact('revision') }
local all = redis.call('HGETALL', rows)
for i = 1, #all, 2 do
  local left = string.match(all[i + 1], '^%d+ %d+ (%d)') == '1'
  if not left or tonumber(redis.call('ZSCORE', leases, all[i]) or 0) > now then
    table.insert(reply, all[i])
    table.insert(reply, all[i + 1])
  end
end
return reply

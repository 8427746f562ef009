-- Writes a node's row with a number of its own and a new epoch. Reaps first, so that a dead fleet's numbers come free.
-- KEYS     see registry.lua, and the ledger (copies.lua): whoever joins has no copies, so nobody waits for it
-- ARGV     nodeId, lastEpoch, about, lease in ms, how many numbers there are
-- Returns  {number, epoch, now, revision, endedBefore} when joined; 'taken' or 'full' otherwise
local node_id, last_epoch, about, lease_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
write_first()
reap(lease_ms)
local number, epoch = row_of(node_id)
if number and epoch ~= last_epoch then return 'taken' end
if not number then
  local used = {}
  for _, row in ipairs(redis.call('HVALS', rows)) do used[tonumber(string.match(row, '^%d+'))] = true end
  number = 0
  while used[number] do number = number + 1 end
  if number >= tonumber(ARGV[5]) then return 'full' end
end
epoch = math.max(fact('epoch'), last_epoch, now) + 1
redis.call('HSET', meta, 'epoch', epoch)
write_row(node_id, number, epoch, '0', about, lease_ms)
-- A lease that still runs under this number, its row lost, goes on counting.
redis.call('HSETNX', KEYS[4], 'u' .. number, 0)
redis.call('HSET', KEYS[4], 'e' .. number, string.format('%.0f', epoch))
revise()
return { number, epoch, now, fact('revision'), fact('endedBefore') }

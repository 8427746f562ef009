-- Stands behind copies.lua in front of the verbs that end a session: who holds something live of it is told like those with copies.
-- The holders, a hash of its own beside the record: nodeId -> "number epoch turn"
-- The writer itself is told, too, if it is a holder: it may have given this command up, and go on holding.
local function with_holders(key, high, low)
  local holders = redis.call('HGETALL', key)
  for i = 2, #holders, 2 do
    local number = tonumber(string.match(holders[i], '^%d+'))
    if number == me then tells_me = true end
    if not has(high, low, number) then
      local bit_high, bit_low = bit_of(number)
      high, low = high + bit_high, low + bit_low
    end
  end
  return holders, high, low
end

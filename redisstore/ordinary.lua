-- The rotation of every day, ahead of all definitions, whose closures would
-- take longer than the rest: the family is alive, the token current, and the
-- client the same to the byte. Whatever is out of the ordinary falls through,
-- untouched, to rotate.lua, whose arguments and answers these are.
do
  local call, byte, sub = redis.call, string.byte, string.sub
  local key, id = KEYS[1], ARGV[1]
  local rec = call('HMGET', key, id, id .. 'c', id .. 'd', id .. 'a')
  local hot, cold = rec[1], rec[2]
  if hot and cold and #hot >= 56 and byte(hot, 1) == 1 and #cold >= 59 and byte(cold, 1) == 1
    and sub(hot, 2, 33) == ARGV[3] and sub(cold, 24, 59) == ARGV[6] and rec[3] == ARGV[7] then
    local r1, r2, r3, r4, r5, r6, g1, g2, g3, g4 = byte(hot, 47, 56)
    local a1, a2, a3, a4, a5, a6, i1, i2, i3, i4 = byte(cold, 13, 22)
    local p, now = tonumber(ARGV[2]), tonumber(ARGV[8])
    local rotated = ((((r1 * 256 + r2) * 256 + r3) * 256 + r4) * 256 + r5) * 256 + r6
    local absolute = ((((a1 * 256 + a2) * 256 + a3) * 256 + a4) * 256 + a5) * 256 + a6
    local idle = (((i1 * 256 + i2) * 256 + i3) * 256 + i4) * 1000
    if p == ((g1 * 256 + g2) * 256 + g3) * 256 + g4 and rotated <= now and now < rotated + idle and now < absolute then
      hot = ARGV[4] .. sub(hot, 34, 39) .. ARGV[5] .. sub(hot, 57)
      call('HSET', key, id, hot)
      local ms = idle
      if absolute - now < ms then ms = absolute - now end
      if type(redis.pcall('PEXPIRE', key, ms, 'GT')) == 'table' and call('PTTL', key) < ms then
        call('PEXPIRE', key, ms)
      end
      return { 3, 0, hot, cold, rec[3], rec[4] }
    end
  end
end

-- contrast.lua STYLE: says of a style sheet where a text may not stand out from its ground, in light or in dark. Each colour
-- of a text is held against each ground, by the formula of WCAG 2: 4.5 at least; and so are lines around what can be used or
-- has the focus, of which 3 is asked. A colour that is none of the style's pairs is a fault. Exits with 1 then.
local style, faults, pairs_of, held = io.open(arg[1]):read("a"), 0, {}, 0

local function fault(...)
  print("    " .. table.concat({...}, " "))
  faults = faults + 1
end

for name, light, dark in style:gmatch("%-%-(%a+): light%-dark%(#(%x+), #(%x+)%)") do
  pairs_of[name] = {light = light, dark = dark}
end

-- uses: the colours of the style that stand behind a property
local function uses(property)
  local found = {}
  for before, value in style:gmatch("([^%a-])" .. property .. ":([^;}]*)") do
    local name = value:match("var%(%-%-(%a+)%)")
    if name then
      found[name] = true
    elseif not value:match("^ ?inherit") and not value:match("^ ?none") and not value:match("^ ?#ffffff") and before then
      fault(property .. ":" .. value, "is no pair of colours")
    end
  end
  return found
end

local function luminance(hex)
  local function part(at)
    local c = tonumber(hex:sub(at, at + 1), 16) / 255
    return c <= 0.04045 and c / 12.92 or ((c + 0.055) / 1.055) ^ 2.4
  end
  return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
end

local function contrast(a, b)
  a, b = luminance(a), luminance(b)
  return (math.max(a, b) + 0.05) / (math.min(a, b) + 0.05)
end

local function hold(fronts, grounds, least)
  for front in pairs(fronts) do
    for ground in pairs(grounds) do
      for _, theme in ipairs {"light", "dark"} do
        local ratio = contrast(pairs_of[front][theme], pairs_of[ground][theme])
        held = held + 1
        if ratio < least then fault(("%s on %s, %s: %.2f, asked are %.1f"):format(front, ground, theme, ratio, least)) end
      end
    end
  end
end

local grounds = uses("background")
hold(uses("color"), grounds, 4.5)
hold(uses("outline"), grounds, 3)
hold({[style:match("button {.-border: 1px solid var%(%-%-(%a+)%)")] = true}, grounds, 3)
if held < 20 then fault("only", held, "pairs were found") end
os.exit(faults == 0)

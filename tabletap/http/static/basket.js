// Menu and basket arithmetic: pure functions, no document. The server has the last word on every price.

export function indexMenu(menu) {
  return {
    items: new Map(menu.items.map((item) => [item.sku, item])),
    groups: new Map(menu.groups.map((group) => [group.id, group])),
  };
}

const optionOf = (index, groupId, optionId) => index.groups.get(groupId)?.options.find(({ id }) => id === optionId);

/**
 * The groups open for an item, given what is chosen ({groupId: [optionId]}): its own, each followed by those its
 * chosen options bring: [{group, under: option or null}].
 */
export function openGroups(index, item, chosen) {
  const open = [];
  const seen = new Set();
  const add = (id, under) => {
    const group = index.groups.get(id);
    if (!group || seen.has(id)) return;
    seen.add(id);
    open.push({ group, under });
    if (under) return; // one level
    for (const optionId of chosen[id] ?? []) {
      const option = optionOf(index, id, optionId);
      for (const nested of option?.groups ?? []) add(nested, option);
    }
  };
  for (const id of item.groups ?? []) add(id, null);
  return open;
}

/** What stands between the choice and the basket: [{group, message}]. */
export function problems(index, item, chosen) {
  return openGroups(index, item, chosen).flatMap(({ group }) => {
    const count = (chosen[group.id] ?? []).length;
    if (count < group.min) return [{ group: group.id, message: `Please choose ${group.min === 1 ? "one" : `at least ${group.min}`}: ${group.name}` }];
    if (count > group.max) return [{ group: group.id, message: `${group.name}: ${group.max} at most` }];
    return [];
  });
}

/** "Choose 1", "Up to 3", "Choose 1 to 2" */
export function rule({ min, max }) {
  if (min === 0) return max === 1 ? "Optional" : `Up to ${max}`;
  return min === max ? `Choose ${min}` : `Choose ${min} to ${max}`;
}

/** As the wire wants it; choices of groups that are not open (any more) are left out. */
export function toModifiers(index, item, size, chosen) {
  const modifiers = item.sizes?.length ? [{ group: "size", option: size ?? item.sizes[0].id }] : [];
  for (const { group } of openGroups(index, item, chosen)) {
    for (const option of chosen[group.id] ?? []) modifiers.push({ group: group.id, option });
  }
  return modifiers;
}

export function unitPrice(index, sku, modifiers) {
  const item = index.items.get(sku);
  const size = modifiers.find(({ group }) => group === "size")?.option;
  const base = item.sizes?.find(({ id }) => id === size)?.price ?? item.sizes?.[0]?.price ?? item.price;
  return modifiers.reduce((sum, { group, option }) => sum + (optionOf(index, group, option)?.price ?? 0), base);
}

/** The names of what was chosen, from the menu; what the menu no longer knows keeps the name it came with. */
export function describe(index, sku, modifiers) {
  const item = index?.items.get(sku);
  return (modifiers ?? []).map(({ group, option, name }) =>
    name ?? (group === "size" ? item?.sizes?.find(({ id }) => id === option)?.name : optionOf(index ?? { groups: new Map() }, group, option)?.name)
      ?? String(option).replaceAll("-", " "));
}

/** A stored basket line as today's menu allows it, or null. */
export function still(index, entry) {
  const item = index.items.get(entry?.sku);
  if (!item || !(entry.quantity > 0)) return null;
  const chosen = {};
  for (const { group, option } of entry.modifiers ?? []) {
    if (group === "size") {
      if (!item.sizes?.some(({ id }) => id === option)) return null;
    } else if (!optionOf(index, group, option)) return null;
    else (chosen[group] ??= []).push(option);
  }
  return problems(index, item, chosen).length ? null : entry;
}

/** Adds a line; the same thing twice becomes one line. */
export function put(basket, entry) {
  const same = (other) => other.sku === entry.sku && other.note === entry.note
    && JSON.stringify(other.modifiers) === JSON.stringify(entry.modifiers);
  return basket.some(same)
    ? basket.map((other) => (same(other) ? { ...other, quantity: Math.min(99, other.quantity + entry.quantity) } : other))
    : [...basket, entry];
}

export const count = (basket) => basket.reduce((sum, { quantity }) => sum + quantity, 0);

export const total = (index, basket) =>
  basket.reduce((sum, { sku, modifiers, quantity }) => sum + unitPrice(index, sku, modifiers) * quantity, 0);

export function orderRequest(basket, { table, name, phone, note }) {
  const customer = { ...(name && { name }), ...(phone && { phone }) };
  return {
    channel: table ? "table" : "online",
    ...(table && { table }),
    items: basket.map(({ sku, quantity, modifiers, note: words }) => ({
      sku, quantity, ...(modifiers.length && { modifiers }), ...(words && { note: words }),
    })),
    ...(note && { note }),
    ...(Object.keys(customer).length && { customer }),
  };
}

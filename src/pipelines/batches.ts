/** Items in batches of `size`. A last batch of fewer than `least` joins the one before. */
export function batchesOf<T>(items: readonly T[], size: number, least = 1): T[][] {
  const batches = Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  )
  if (batches.length > 1 && batches.at(-1)!.length < least) batches.at(-2)!.push(...batches.pop()!)
  return batches
}

/** The text of a kernel file with its includes. */
export function readKernel(path: string): string

/** The text of a kernel file with its includes. */
export function readKernel(path: string): string

/** esbuild's loader of kernels for Node: as they are, so that an error of the driver can quote the file. */
export const wgsl: import('esbuild').Plugin

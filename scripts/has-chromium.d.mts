/** Whether there is a Chromium for tests: the npm package's, or one that FOVEA_CHROMIUM names. */
export const hasChromium: boolean

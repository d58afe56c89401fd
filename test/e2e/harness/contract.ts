/*
 * Names as users and other programs know them. They are repeated here and not imported, so that a change in the program
 * is noticed.
 */
export const finalizers: readonly string[] = ['furiwake.dev/cleanup', 'service.kubernetes.io/load-balancer-cleanup'];
export const addressesAnnotation = 'furiwake.dev/addresses';
export const sourceRangesAnnotation = 'service.beta.kubernetes.io/load-balancer-source-ranges';

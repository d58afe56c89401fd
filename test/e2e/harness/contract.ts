/*
 * Names as users and other programs know them. They are written out here and not taken from the product, so that a
 * change there is noticed.
 */
export const finalizers: readonly string[] = ['furiwake.dev/cleanup', 'service.kubernetes.io/load-balancer-cleanup'];
export const addressesAnnotation = 'furiwake.dev/addresses';
export const sourceRangesAnnotation = 'service.beta.kubernetes.io/load-balancer-source-ranges';

"""Pruning, distillation and quantisation, each as PSNR against what it saves on a chip."""

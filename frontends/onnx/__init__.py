"""ONNX files turned into networks that `cimsim.trace` reads.

A file is read and checked without torch (`cimsim.frontends.onnx.file`). For inputs of known shapes
its nodes become calls of torch (`program`, `operators`): the digital operations of a layer graph
are torch's own, and torch says, without values, which shape each of them has. What depends on no
input is computed. Groups of nodes into which exporters take layers apart become the layers again
(`fusions`), so that a network costs the same whichever way it came. The result is a module
(`network`), which is traced as any other.
"""
